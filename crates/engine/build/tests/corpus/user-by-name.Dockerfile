FROM busybox
RUN mkdir -p /home/u && echo 'g:x:3000:' >> /etc/group && echo 'u:x:3001:3000::/home/u:/bin/sh' >> /etc/passwd && chown u:g /home/u
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
