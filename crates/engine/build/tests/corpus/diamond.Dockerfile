FROM busybox AS root
RUN echo root > /root.txt
FROM root AS left
RUN echo left > /left.txt
FROM root AS right
RUN echo right > /right.txt
FROM root AS join
COPY --from=left /left.txt /
COPY --from=right /right.txt /
RUN cat /*.txt > /all
FROM join
