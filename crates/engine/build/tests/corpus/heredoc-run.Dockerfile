# syntax=docker/dockerfile:1
FROM busybox
RUN <<EOF
set -e
mkdir -p /made
echo "one" > /made/one
# a comment of the shell
echo 'two' > /made/two
EOF
