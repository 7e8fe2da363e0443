FROM busybox AS server
ADD capabilities.tar /srv/
FROM busybox
COPY --from=server /srv/ping /bin/my-ping
COPY --from=server /srv /srv
