FROM busybox AS build
WORKDIR /workspace
COPY java/mvnw java/pom.xml ./
RUN ./mvnw dependency:go-offline > deps.txt
COPY java/src src
RUN ./mvnw package -DskipTests > app.jar

FROM busybox
RUN echo 'spring:x:101:' >> /etc/group && echo 'spring:x:100:101::/:/bin/sh' >> /etc/passwd
USER spring:spring
COPY --from=build /workspace/app.jar /app.jar
ENV JAVA_OPTS=""
EXPOSE 8080
ENTRYPOINT exec java $JAVA_OPTS -jar /app.jar
