FROM busybox AS base
USER 1654
WORKDIR /app
EXPOSE 8080
EXPOSE 8081

FROM busybox AS build
ARG BUILD_CONFIGURATION=Release
WORKDIR /src
COPY ["dotnet/app.csproj", "dotnet/"]
RUN cat "./dotnet/app.csproj" > /dev/null
COPY . .
WORKDIR "/src/dotnet"
RUN mkdir -p /app/build && echo $BUILD_CONFIGURATION > /app/build/app.dll

FROM build AS publish
RUN mkdir /app/publish && cp /app/build/app.dll /app/publish/

FROM base AS final
WORKDIR /app
COPY --from=publish /app/publish .
ENTRYPOINT ["dotnet", "app.dll"]
