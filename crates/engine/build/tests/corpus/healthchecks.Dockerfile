FROM busybox AS none
HEALTHCHECK NONE
FROM busybox AS shell
HEALTHCHECK --interval=1m30s --timeout=10s --start-period=40s --start-interval=2s --retries=5 \
  CMD wget -q --spider http://localhost/ || exit 1
FROM busybox
COPY scripts/health.sh /
HEALTHCHECK --timeout=500ms CMD ["/bin/sh", "/health.sh"]
