# The command line as an image: a migration job (migrate), a relay (relay --publisher …) or a sweeper (sweep).
#   docker build --tag payment-events-db .
# For a build that never changes, name the image by its digest: --build-arg NODE_IMAGE=node:22-bookworm-slim@sha256:…
ARG NODE_IMAGE=node:22-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build && mkdir /packed && npm pack --ignore-scripts --pack-destination /packed
WORKDIR /app
# The clients of both brokers are there for the publishers; all in the versions that were tested.
RUN echo '{ "private": true }' > package.json \
  && npm install --omit=dev --ignore-scripts --no-audit --no-fund /packed/*.tgz $(node -p ' \
    const { packages } = require("/build/package-lock.json"); \
    ["typeorm", "pg", "reflect-metadata", "amqplib", "@aws-sdk/client-kms", "@aws-sdk/client-sqs"] \
      .map((name) => `${name}@${packages[`node_modules/${name}`].version}`).join(" ")')

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app /app
USER node
STOPSIGNAL SIGTERM
# No shell and no npm in between: SIGTERM reaches the program.
ENTRYPOINT ["node", "node_modules/payment-events-db/dist/src/cli/main.js"]
CMD ["--help"]
