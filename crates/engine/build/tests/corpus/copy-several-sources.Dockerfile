FROM busybox AS files
COPY data scripts /all/

FROM busybox
WORKDIR /there
COPY data/?.txt /there
COPY scripts/wait.sh scripts/health.sh /there
COPY data/?.txt /last
COPY scripts/wait.sh scripts/health.sh /last-too
COPY data/?.txt .
COPY data/?.txt ./last-here
COPY docs scripts /merged
COPY docs scripts/wait.sh /mixed
COPY data/a.txt /old
COPY data/?.txt /old
COPY data/nothing* data/b.txt /alone
COPY --from=files /all/*.sh /there
COPY --from=files /all/?.txt /last-of-stage
ADD bundle.tar data/?.txt /unpacked
