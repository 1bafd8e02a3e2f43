// The npm package `eventsource` as a witness: reads the streams that standard input names, and
// writes what it heard to standard output. How it listens is told by the module it is given, the
// same that a browser is given.
import { pathToFileURL } from "node:url";
import { EventSource } from "eventsource";

const { listen } = await import(pathToFileURL(process.argv[2]));
let asked = "";
for await (const piece of process.stdin) asked += piece;
const { streams, boundMs } = JSON.parse(asked);
process.stdout.write(JSON.stringify(await listen(EventSource, streams, boundMs)), () => process.exit(0));
