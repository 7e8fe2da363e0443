FROM busybox
COPY data/*.txt /txt/
COPY data/?.txt /one-letter/
COPY data/[ab].txt /class/
COPY data/[[]x].txt /brackets/
COPY ["data/with space.txt", "/space here/"]
COPY docs/*/*.md /md/
