FROM busybox
ENV DATA=/data PORT=9000
VOLUME $DATA
VOLUME ["/var/lib/a", "/var/lib/b c"]
VOLUME /x /y
EXPOSE 80 443/tcp 53/udp 5000-5003 $PORT ${PORT}/udp
