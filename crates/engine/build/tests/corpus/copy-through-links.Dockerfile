FROM busybox
RUN mkdir -p /etc/app /data/v2 \
 && echo old > /etc/app/real.conf \
 && ln -s real.conf /etc/app/app.conf \
 && ln -s /etc/app/app.conf /app.conf \
 && ln -s ../data/v2 /etc/current \
 && ln -s /made/later.txt /later
COPY data/a.txt /app.conf
COPY data/b.txt /etc/current
COPY data/b.txt /later
COPY docs/guide /etc/current/guide
