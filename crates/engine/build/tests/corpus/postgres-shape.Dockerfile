FROM busybox
RUN set -eux; echo 'postgres:x:70:' >> /etc/group; echo 'postgres:x:70:70::/var/lib/postgresql:/bin/sh' >> /etc/passwd
ENV LANG en_US.utf8
ENV PG_MAJOR=16 PG_VERSION=16.3
RUN mkdir /docker-entrypoint-initdb.d
ENV PGDATA /var/lib/postgresql/data
RUN mkdir -p "$PGDATA" && chown -R postgres:postgres "$PGDATA" && chmod 1777 "$PGDATA"
VOLUME /var/lib/postgresql/data
COPY scripts/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN ln -sT docker-entrypoint.sh /usr/local/bin/entry
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
