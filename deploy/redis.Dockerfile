# Redis with Meterline's module, which keeps the dedup memory in tables (docs/operations.md).
FROM redis:7.4.2 AS compiled
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
COPY sinks/dedup_module /dedup_module
RUN cc -std=c11 -O3 -shared -fPIC -fvisibility=hidden -o /meterline.so /dedup_module/*.c

FROM redis:7.4.2
COPY --from=compiled /meterline.so /usr/local/lib/meterline.so
