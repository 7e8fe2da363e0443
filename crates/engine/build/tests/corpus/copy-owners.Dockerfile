FROM busybox
RUN echo 'team:x:2000:' >> /etc/group && echo 'dev:x:2001:2000::/:/bin/sh' >> /etc/passwd
COPY --chown=dev data/a.txt /by-name
COPY --chown=dev:team data /by-both
COPY --chown=55 data/a.txt /by-number
COPY --chown=55:team data/a.txt /mixed
COPY --chown=10:11 data/sub /numbers/sub
ARG OWNER=dev:team
COPY --chown=${OWNER} data/b.txt /variable
