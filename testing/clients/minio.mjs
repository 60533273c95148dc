// MinIO's client for JavaScript: prints a line of JSON for every step.
import { createReadStream, readFileSync, statSync } from "node:fs";
import * as Minio from "minio";

const { S3_ENDPOINT, S3_BUCKET: bucket, SMALL, LARGE, AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey } = process.env;
const { hostname: endPoint, port } = new URL(S3_ENDPOINT);
const client = new Minio.Client({ endPoint, port: Number(port), useSSL: false, accessKey, secretKey, region: "us-east-1", partSize: 5 << 20 });
const large = readFileSync(LARGE);

async function step(name, action) {
  const begun = Date.now();
  let wrong = null;
  try { await action(); } catch (error) { wrong = String(error); }
  console.log(JSON.stringify([name, wrong, (Date.now() - begun) / 1000]));
}

async function content(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function same(left, right) {
  if (!Buffer.from(left).equals(Buffer.from(right))) throw new Error("not the same content");
}

await step("create", () => client.makeBucket(bucket, "us-east-1"));
await step("put", () => client.putObject(bucket, "small.txt", readFileSync(SMALL)));
await step("multipart", () => client.putObject(bucket, "large.bin", createReadStream(LARGE), statSync(LARGE).size));
await step("get", async () => same(await content(await client.getObject(bucket, "large.bin")), large));
await step("range", async () => same(await content(await client.getPartialObject(bucket, "large.bin", 100, 100)), large.subarray(100, 200)));
await step("list", async () => {
  const keys = [];
  for await (const object of client.listObjectsV2(bucket, "", true)) keys.push(object.name);
  if (keys.join() !== "large.bin,small.txt") throw new Error(keys.join());
});
await step("copy", () => client.copyObject(bucket, "copied", `/${bucket}/small.txt`));
await step("presign", async () => {
  const url = await client.presignedGetObject(bucket, "copied", 60);
  same(Buffer.from(await (await fetch(url)).arrayBuffer()), readFileSync(SMALL));
});
await step("delete", () => client.removeObjects(bucket, ["copied"]));
