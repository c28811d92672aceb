// `npm start`: runs the example shop. Plain JavaScript, so that an old Node can still say what is wrong.
import { fileURLToPath } from "node:url";

const NEEDED = [22, 12];
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
  console.error(
    `This needs Node >= ${NEEDED.join(".")}, and runs on ${process.version}. ` +
      "Run `npm start`, which uses the Node that npm installed here, or install a newer one.",
  );
  process.exit(1);
}

// A Node without type stripping (22.12 to 22.17 have it behind a flag) cannot import the shop's TypeScript.
if (process.features.typescript) {
  const main = new URL("../examples/shop/main.ts", import.meta.url);
  // The shop parses its arguments from the third on, as when it is run by itself.
  process.argv[1] = fileURLToPath(main);
  await import(main.href);
} else {
  console.error(`Node ${process.version} does not run TypeScript: use \`npm start\`, or Node >= 22.18.`);
  process.exit(1);
}
