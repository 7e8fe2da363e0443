FROM busybox
ENV abc=hello
ENV abc=bye def=$abc
ENV ghi=$abc
ENV OLD value with  spaces
ENV QUOTED="a \"b\" c" ESCAPED=a\ b PARTS="a"'b'c
ENV MANY=1 \
# a comment between
    MORE=2 \

    MOST=3
