FROM busybox
RUN addgroup -g 3000 g && adduser -D -u 3001 -G g u
USER u
RUN id > /tmp/u
USER u:root
RUN id > /tmp/u-root
USER 77
RUN id -u > /tmp/number
USER 77:88
RUN id -g > /tmp/numbers
ARG WHO=u
USER ${WHO}
WORKDIR /home/u/made
