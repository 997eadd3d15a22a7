// Runs networks that check.py sends on standard input: run.mjs ENGINE.wasm
import { readFileSync, readSync, writeSync } from 'node:fs'

const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]))
const { memory, run_network, __heap_base } = instance.exports

function read(size) {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; ) {
    const count = readSync(0, bytes, at, size - at, null)
    if (count === 0) process.exit(0)
    at += count
  }
  return bytes
}

function write(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at)
}

// Copies blocks of bytes to the heap, each at a multiple of 64. Returns their addresses.
function place(blocks) {
  let end = __heap_base.value
  const addresses = blocks.map((block) => {
    const address = Math.ceil(end / 64) * 64
    end = address + block.length
    return address
  })
  const missing = end - memory.buffer.byteLength
  if (missing > 0) memory.grow(Math.ceil(missing / 65536))
  blocks.forEach((block, i) => new Uint8Array(memory.buffer).set(block, addresses[i]))
  return addresses
}

for (;;) {
  const { sizes, numbers, stages } = JSON.parse(read(read(4).readUInt32LE()))
  const blocks = sizes.map(read) // kernel, stages, layers, shapes, constants, gains, progress, and the buffers
  const addresses = place([...blocks, Buffer.alloc(4 * (sizes.length - 7))])
  const pointers = addresses.pop()
  const buffers = addresses.splice(7)
  new Uint32Array(memory.buffer, pointers, buffers.length).set(buffers)
  const [kernel, stagesAt, ...others] = addresses
  const result = run_network(kernel, stagesAt, stages, ...others, pointers, ...numbers)
  write(Buffer.from([result]))
  buffers.forEach((address, i) => write(new Uint8Array(memory.buffer, address, blocks[7 + i].length)))
}
