FROM busybox
ADD bundle.tar /opt/
ADD data/a.txt data/b.txt /opt/plain/
ADD bundle.tar /opt/again
