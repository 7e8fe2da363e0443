FROM busybox
ENV APACHE_DOCUMENT_ROOT /var/www/html/public
RUN mkdir -p ${APACHE_DOCUMENT_ROOT} \
 && echo "DocumentRoot ${APACHE_DOCUMENT_ROOT}" > /etc/apache.conf
WORKDIR /var/www/html
COPY php/composer.json ./
COPY php/*.php public/
RUN echo 'www-data:x:33:' >> /etc/group && echo 'www-data:x:33:33::/var/www:/bin/sh' >> /etc/passwd && chown -R www-data:www-data public
EXPOSE 80/tcp
