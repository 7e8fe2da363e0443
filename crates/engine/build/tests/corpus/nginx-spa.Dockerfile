FROM busybox as build
WORKDIR /web
COPY node/ ./
ARG API_URL=http://localhost
RUN sed "s|web|$API_URL|" public/index.html > index.html

FROM busybox
COPY --from=build /web/index.html /usr/share/nginx/html/
COPY nginx/html/css /usr/share/nginx/html/css
VOLUME /var/cache/nginx
