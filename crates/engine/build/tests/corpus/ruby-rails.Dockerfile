ARG RUBY_VERSION=3.3.0
FROM busybox AS base
WORKDIR /rails
ENV RAILS_ENV="production" \
    BUNDLE_DEPLOYMENT="1" \
    BUNDLE_PATH="/usr/local/bundle" \
    BUNDLE_WITHOUT="development"

FROM base AS build
COPY ruby/Gemfile ruby/Gemfile.lock ./
RUN mkdir -p "${BUNDLE_PATH}"/ruby/cache && cp Gemfile "${BUNDLE_PATH}"/ && \
    rm -rf "${BUNDLE_PATH}"/ruby/cache
COPY ruby .

FROM base
COPY --from=build /usr/local/bundle /usr/local/bundle
COPY --from=build /rails /rails
RUN echo 'rails:x:1000:' >> /etc/group && echo 'rails:x:1000:1000::/rails:/bin/sh' >> /etc/passwd && mkdir -p log tmp && chown -R rails:rails log tmp
USER rails:rails
COPY --chmod=755 scripts/entrypoint.sh /rails/bin/docker-entrypoint
ENTRYPOINT ["/rails/bin/docker-entrypoint"]
EXPOSE 3000
CMD ["./bin/rails", "server"]
