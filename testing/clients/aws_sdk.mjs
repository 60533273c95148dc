// The AWS SDK for JavaScript, version 3: prints a line of JSON for every step.
import { createReadStream, readFileSync } from "node:fs";
import {
  CopyObjectCommand, CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { S3_ENDPOINT, S3_BUCKET: Bucket, SMALL, LARGE } = process.env;
const client = new S3Client({ endpoint: S3_ENDPOINT, region: "us-east-1", forcePathStyle: true });
const large = readFileSync(LARGE);

async function step(name, action) {
  const begun = Date.now();
  let wrong = null;
  try { await action(); } catch (error) { wrong = String(error); }
  console.log(JSON.stringify([name, wrong, (Date.now() - begun) / 1000]));
}

function same(left, right) {
  if (!Buffer.from(left).equals(Buffer.from(right))) throw new Error("not the same content");
}

const got = async (Key, more = {}) => (await client.send(new GetObjectCommand({ Bucket, Key, ...more }))).Body.transformToByteArray();

await step("create", () => client.send(new CreateBucketCommand({ Bucket })));
await step("put", () => client.send(new PutObjectCommand({ Bucket, Key: "small.txt", Body: readFileSync(SMALL), Metadata: { a: "b" } })));
await step("multipart", () => new Upload({ client, params: { Bucket, Key: "large.bin", Body: createReadStream(LARGE) }, partSize: 5 << 20 }).done());
await step("get", async () => { same(await got("small.txt"), readFileSync(SMALL)); same(await got("large.bin"), large); });
await step("range", async () => same(await got("large.bin", { Range: "bytes=100-199" }), large.subarray(100, 200)));
await step("list", async () => {
  const { Contents } = await client.send(new ListObjectsV2Command({ Bucket }));
  if (Contents.map((o) => o.Key).join() !== "large.bin,small.txt") throw new Error(JSON.stringify(Contents));
});
await step("copy", () => client.send(new CopyObjectCommand({ Bucket, Key: "copied", CopySource: `${Bucket}/small.txt` })));
await step("presign", async () => {
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "copied" }), { expiresIn: 60 });
  same(Buffer.from(await (await fetch(url)).arrayBuffer()), readFileSync(SMALL));
  const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: "put" }), { expiresIn: 60 });
  const answer = await fetch(put, { method: "PUT", body: "x" });
  if (!answer.ok) throw new Error(await answer.text());
});
await step("delete", () => client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: "copied" }, { Key: "put" }] } })));
