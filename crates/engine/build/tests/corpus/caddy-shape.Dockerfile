FROM busybox
MAINTAINER Web Team <web@example.test>
RUN mkdir -p /config/caddy /data/caddy /etc/caddy /usr/share/caddy
COPY nginx/nginx.conf /etc/caddy/Caddyfile
COPY nginx/html /usr/share/caddy
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
LABEL org.opencontainers.image.version=v2.8.0 \
      org.opencontainers.image.title="A server" \
      org.opencontainers.image.description="quotes \"inside\" and $XDG_DATA_HOME"
EXPOSE 80 443 443/udp 2019
HEALTHCHECK --interval=15s --start-period=1m --retries=2 CMD ["wget", "-qO", "/dev/null", "http://localhost:2019/metrics"]
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
