# syntax=docker/dockerfile:1
FROM busybox AS tools
RUN mkdir /tools && echo 'echo tool ran' > /tools/tool.sh
FROM busybox
RUN --mount=from=tools,source=/tools,target=/t sh /t/tool.sh > /result
RUN --mount=type=bind,from=tools,target=/all,rw echo gone > /all/written
