FROM busybox AS extract
WORKDIR /x
COPY java .
RUN mkdir -p dependencies/lib application && cp pom.xml dependencies/lib && cp -r src application/

FROM scratch
WORKDIR /app
COPY --from=extract /x/dependencies/ ./
COPY --from=extract /x/application/ ./
STOPSIGNAL SIGTERM
ENTRYPOINT ["java", "org.springframework.boot.loader.JarLauncher"]
