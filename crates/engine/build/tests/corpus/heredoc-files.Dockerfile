FROM busybox
ARG NAME=world
ENV PORT=80
COPY <<EOF /etc/app.conf
name = ${NAME}
port = $PORT
literal = \$PORT
quoted = "it's"
EOF
COPY <<'EOF' /etc/raw.conf
name = ${NAME}
EOF
COPY --chmod=755 <<-"run.sh" <<second.txt /opt/
	#!/bin/sh
	echo hello
	run.sh
second
second.txt
