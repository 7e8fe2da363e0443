FROM busybox
COPY data /data
COPY data/ /data-slash/
COPY data/sub data/sub/deep /merged/
COPY ./docs/../data/a.txt /up.txt
COPY . /all
WORKDIR /here
COPY data/a.txt .
COPY data/b.txt ./renamed.txt
COPY data/b.txt sub/dir/
