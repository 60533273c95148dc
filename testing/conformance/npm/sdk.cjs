// Calls functions of @tigrisdata/storage: reads [[name, ...arguments], …] from standard input, writes their results as JSON.
// The first argument is the directory in which the package is installed.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");

const storage = createRequire(`${process.argv[2]}/package.json`)("@tigrisdata/storage");

(async () => {
  const results = [];
  for (const [name, ...args] of JSON.parse(readFileSync(0, "utf8"))) {
    const { data, error } = await storage[name](...args);
    results.push(error ? { error: error.message } : { data: data ?? null });
  }
  process.stdout.write(JSON.stringify(results));
})();
