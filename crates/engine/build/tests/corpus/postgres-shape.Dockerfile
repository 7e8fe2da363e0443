FROM busybox
RUN set -eux; addgroup -S -g 70 postgres; adduser -S -u 70 -D -G postgres -h /var/lib/postgresql -s /bin/sh postgres
ENV LANG en_US.utf8
ENV PG_MAJOR=16 PG_VERSION=16.3
RUN mkdir /docker-entrypoint-initdb.d
ENV PGDATA /var/lib/postgresql/data
RUN install -d -o postgres -g postgres -m 1777 "$PGDATA"
VOLUME /var/lib/postgresql/data
COPY scripts/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN ln -sT docker-entrypoint.sh /usr/local/bin/entry
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
