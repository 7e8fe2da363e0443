FROM busybox
LABEL "com.example.vendor"="ACME Incorporated"
LABEL com.example.label-with-value="foo"
LABEL version='1.0' \
      description="This text goes on \
over two lines."
LABEL old form of it
LABEL multi.one=1 multi.two="two" multi.three=th\ ree
