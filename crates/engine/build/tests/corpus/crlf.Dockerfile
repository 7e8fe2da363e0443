FROM busybox
ENV A=1 \
    B=2
RUN echo $A$B \
  > /sum
COPY data/a.txt /
