FROM scratch
ADD --chown=7:8 <<motd /etc/
Welcome.
motd
