FROM busybox
WORKDIR /a
WORKDIR b
WORKDIR ./c/../d
ENV SUB=e
WORKDIR $SUB/${MISSING:-f}
RUN pwd > where
