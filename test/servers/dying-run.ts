/** A test run that starts servers, says where they are, and waits to be killed (see test/servers.test.ts). */
import { startMemcached, startRedis } from "../servers.ts";

const frozen = await startRedis();
await frozen.pause();
const gone = await startRedis();
await gone.stop();
const memcached = await startMemcached();
process.send?.({ folder: frozen.folder, ports: [frozen.port, memcached.port] });
setInterval(() => {}, 60_000);
