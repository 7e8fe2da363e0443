FROM busybox
ARG DEBIAN_FRONTEND=noninteractive
RUN set -eux; \
	savedMark="$(echo marked)"; \
	for dir in /var/lib/apt/lists /var/cache/apt; do \
		mkdir -p "$dir"; \
	done; \
	[ -z "$savedMark" ] || echo "$savedMark" > /marked; \
	rm -rf /var/lib/apt/lists/*
