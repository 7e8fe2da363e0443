# syntax=docker/dockerfile:1
FROM busybox
RUN <<SCRIPT
#!/bin/sh -e
for n in 1 2 3; do
	echo $n >> /numbers
done
SCRIPT
