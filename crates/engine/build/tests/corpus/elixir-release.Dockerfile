ARG MIX_ENV="prod"
FROM busybox AS build
ARG MIX_ENV
ENV MIX_ENV="${MIX_ENV}" LANG=C.UTF-8
WORKDIR /app/_build/${MIX_ENV}/rel
RUN mkdir -p demo/bin demo/releases/0.1.0 && echo "$MIX_ENV" > demo/releases/start_erl.data && printf '#!/bin/sh\nexec sh\n' > demo/bin/demo && chmod 755 demo/bin/demo

FROM busybox AS app
ARG MIX_ENV
ENV HOME=/app/user USER=elixir
RUN echo "$USER:x:1000:" >> /etc/group && echo "$USER:x:1000:1000::$HOME:/bin/sh" >> /etc/passwd
USER "${USER}"
WORKDIR "${HOME}"
COPY --from=build --chown="${USER}":"${USER}" /app/_build/"${MIX_ENV}"/rel/demo ./
ENTRYPOINT ["bin/demo"]
CMD ["start"]
