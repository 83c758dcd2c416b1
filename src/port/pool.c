/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/pool.h"

#include <errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <stdio.h>

enum { POOL_CACHE = 256 };

int
node_of_cpu(unsigned cpu)
{
	unsigned lcore;

	RTE_LCORE_FOREACH(lcore)
		if (rte_lcore_to_cpu_id((int)lcore) == (int)cpu)
			return (int)rte_lcore_to_socket_id(lcore);
	return -1;
}

static unsigned
pool_index(int node)
{
	return node < 0 || node >= POOL_NODES_MAX ? 0 : (unsigned)node;
}

/* On that node if it has the memory. */
static struct rte_mempool *
pool_create(const void *unique, unsigned node, uint32_t count, uint16_t bytes)
{
	struct rte_mempool *pool;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "%u-%p", node, unique);
	bytes += RTE_PKTMBUF_HEADROOM;
	pool = rte_pktmbuf_pool_create(name, count, POOL_CACHE, 0, bytes, (int)node);
	return pool ? pool : rte_pktmbuf_pool_create(name, count, POOL_CACHE, 0, bytes, SOCKET_ID_ANY);
}

void
packet_memory_destroy(struct packet_memory *memory)
{
	for (unsigned node = 0; node < POOL_NODES_MAX; node++) {
		rte_mempool_free(memory->pools[node]);
		memory->pools[node] = NULL;
	}
}

/* Each pool has all that the queues want: they may all be served on that node. */
static int
pools_create(struct packet_memory *memory, const struct cpumask *cpus, uint32_t count, uint16_t bytes)
{
	for (unsigned cpu = cpumask_next(cpus, 0); cpu < CPU_LIMIT; cpu = cpumask_next(cpus, cpu + 1)) {
		unsigned node = pool_index(node_of_cpu(cpu));

		if (memory->pools[node])
			continue;
		memory->pools[node] = pool_create(memory, node, count, bytes);
		if (!memory->pools[node]) {
			packet_memory_destroy(memory);
			return -ENOMEM;
		}
	}
	return 0;
}

int
packet_memory_create(struct packet_memory *memory, const struct adapter_config *config, uint16_t bytes,
		     uint32_t reserve)
{
	for (memory->free = config->queues * BUFFERS_DEFAULT; memory->free >= BUFFERS_DEFAULT; memory->free /= 2)
		if (!pools_create(memory, &config->cpus, reserve + memory->free, bytes))
			return 0;
	return -ENOMEM;
}

struct rte_mempool *
packet_memory_pool(const struct packet_memory *memory, int node)
{
	unsigned index = pool_index(node);

	while (!memory->pools[index])
		index = (index + 1) % POOL_NODES_MAX;
	return memory->pools[index];
}

uint32_t
packet_memory_promise(struct packet_memory *memory, uint16_t queue, uint32_t buffers)
{
	const uint32_t available = memory->free + memory->promised[queue];

	buffers = RTE_MIN(buffers, available);
	if (buffers && buffers < BUFFERS_MIN)
		return 0;
	memory->free = available - buffers;
	memory->promised[queue] = buffers;
	return buffers;
}

struct chunks {
	struct memory *memory;
	size_t left;
};

static void
add_chunk(struct rte_mempool *pool, void *ctx, struct rte_mempool_memhdr *chunk, unsigned index)
{
	struct chunks *chunks = ctx;
	struct memory *memory = chunks->memory;
	size_t bytes = RTE_MIN(chunk->len, chunks->left);

	(void)pool, (void)index;
	if (!bytes || memory->segment_count == MEMORY_SEGMENTS_MAX)
		return;
	memory->segments[memory->segment_count++] = (struct memory_segment){ chunk->addr, bytes };
	chunks->left -= bytes;
}

/* Where a queue's frames arrive: its share of the pool has no place in it, only a size. */
static void
share_pool(struct rte_mempool *pool, struct memory *memory)
{
	struct chunks chunks = { memory, memory->request.bytes };

	rte_mempool_mem_iter(pool, add_chunk, &chunks);
}

static void
pieces_free(struct memory *memory)
{
	for (; memory->segment_count; memory->segment_count--)
		rte_free(memory->segments[memory->segment_count - 1].address);
}

static int
pieces_allocate(struct memory *memory, uint32_t pieces)
{
	const int node = memory->request.node < 0 ? SOCKET_ID_ANY : memory->request.node;
	size_t left = memory->request.bytes, piece = (left + pieces - 1) / pieces;

	for (; left; left -= RTE_MIN(left, piece)) {
		struct memory_segment segment = { .bytes = RTE_MIN(left, piece) };

		segment.address = rte_malloc_socket("shared", segment.bytes, RTE_CACHE_LINE_SIZE, node);
		if (!segment.address) {
			pieces_free(memory);
			return -ENOMEM;
		}
		memory->segments[memory->segment_count++] = segment;
	}
	return 0;
}

/* In as few pieces as it takes. */
static int
allocate(struct memory *memory)
{
	const uint32_t most = memory->request.contiguous ? 1 : MEMORY_SEGMENTS_MAX;
	int error = -ENOMEM;

	for (uint32_t pieces = 1; error && pieces <= most; pieces *= 2)
		error = pieces_allocate(memory, pieces);
	memory->allocation = memory->segments[0].address;
	return error;
}

int
packet_memory_get(const struct packet_memory *packets, struct memory *memory)
{
	const struct rte_memseg_list *list;
	int error = 0;

	if (memory->request.usage == MEMORY_RECEIVE || memory->request.usage == MEMORY_POST_LOOKAHEAD)
		share_pool(packet_memory_pool(packets, memory->request.node), memory);
	else
		error = allocate(memory);
	if (error)
		return error;
	memory->address = memory->segments[0].address;
	list = rte_mem_virt2memseg_list(memory->address);
	memory->node = list ? list->socket_id : -1;
	return 0;
}

void
packet_memory_put(struct memory *memory)
{
	if (memory->allocation)
		pieces_free(memory);
}
