# escape=`

FROM busybox
ENV WINDOWS_PATH=c:\windows\system32
RUN echo one `
    two `
    # a comment
    three > /words
COPY data/a.txt `
     /copied/
