FROM busybox
RUN mkfifo /pipe && ln /bin/busybox /hardlink && ln -s ../bin /symlink && chmod 2770 /tmp && touch -d '2001-02-03 04:05:06' /old
RUN mkdir -m 1777 /sticky && echo x > "/spaces and \"quotes\"" && touch /ünïcödé
