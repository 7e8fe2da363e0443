FROM busybox
RUN [ -d /bin ] && echo yes > /is-directory
CMD ['single', 'quotes']
