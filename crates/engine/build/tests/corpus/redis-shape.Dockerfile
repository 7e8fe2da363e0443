FROM busybox
RUN echo 'redis:x:1000:' >> /etc/group && echo 'redis:x:999:1000::/home/redis:/bin/false' >> /etc/passwd
ENV REDIS_VERSION 7.2.4
ENV REDIS_DOWNLOAD_SHA 8d104c26a154b29fd67d6568b4f375212212ad41e0c2caa3d66480e78dbd3b59
RUN set -eux; \
	mkdir -p /usr/src/redis /usr/local/bin; \
	echo "protected-mode no" > /usr/src/redis/redis.conf; \
	cp /usr/src/redis/redis.conf /usr/local/bin/redis-server; \
	ln /usr/local/bin/redis-server /usr/local/bin/redis-check-rdb; \
	ln -sT redis-server /usr/local/bin/redis-sentinel; \
	rm -r /usr/src/redis
RUN mkdir /data && chown redis:redis /data
VOLUME ["/data"]
WORKDIR /data
COPY scripts/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 6379
CMD ["redis-server"]
