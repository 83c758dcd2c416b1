/* SPDX-License-Identifier: BSD-3-Clause */
/* Adapters: configuration, hardware, capabilities, host interface, and their end with everything on them. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC UINT64_C(0x525400000001)

static struct fake fake;

static const struct config_row {
	const char *name;
	const char *adapter, *port;
	int ndis;
	uint32_t queues, filters;
	uint16_t mtu;
	uint64_t cpus;
	int error;
} config_rows[] = {
	{ "plain", "eth0", "net_null0", 630, 64, 4096, 1500, 0, 0 },
	{ "6.20", "eth0", "net_null0", 620, 64, 4096, 1500, 0, 0 },
	{ "least", "e", "p", 630, 1, 1, MTU_MIN, 1 << 1, 0 },
	{ "most", "eth0.100@a:b_c-d", "0000:03:00.0", 630, QUEUE_ID_LIMIT, FILTER_ID_LIMIT, MTU_MAX, 0xe, 0 },
	{ "name empty", "", "net_null0", 630, 64, 4096, 1500, 0, -EINVAL },
	{ "name with space", "eth 0", "net_null0", 630, 64, 4096, 1500, 0, -EINVAL },
	{ "name with slash", "../eth0", "net_null0", 630, 64, 4096, 1500, 0, -EINVAL },
	{ "name with control character", "eth\t0", "net_null0", 630, 64, 4096, 1500, 0, -EINVAL },
	{ "name taken", "old", "net_null0", 630, 64, 4096, 1500, 0, -EEXIST },
	{ "port empty", "eth0", "", 630, 64, 4096, 1500, 0, -EINVAL },
	{ "port with newline", "eth0", "net_null0\n", 630, 64, 4096, 1500, 0, -EINVAL },
	{ "port taken", "eth0", "net_null_old", 630, 64, 4096, 1500, 0, -EEXIST },
	{ "NDIS unknown", "eth0", "net_null0", 650, 64, 4096, 1500, 0, -EINVAL },
	{ "no queues", "eth0", "net_null0", 630, 0, 4096, 1500, 0, -EINVAL },
	{ "too many queues", "eth0", "net_null0", 630, QUEUE_ID_LIMIT + 1, 4096, 1500, 0, -EINVAL },
	{ "fewer filters than queues", "eth0", "net_null0", 630, 64, 63, 1500, 0, -EINVAL },
	{ "too many filters", "eth0", "net_null0", 630, 64, FILTER_ID_LIMIT + 1, 1500, 0, -EINVAL },
	{ "MTU too small", "eth0", "net_null0", 630, 64, 4096, MTU_MIN - 1, 0, -EINVAL },
	{ "MTU too big", "eth0", "net_null0", 630, 64, 4096, MTU_MAX + 1, 0, -EINVAL },
	{ "processor not of the data path", "eth0", "net_null0", 630, 64, 4096, 1500, 0x12, -EINVAL },
};

static void
config(void **state)
{
	const struct config_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter_config config;
	struct adapter *adapter = NULL;
	struct refusal why = { 0 };

	fake_adapter_add(model, "old", NDIS_6_30, 4, 8);
	fake_log_clear(&fake);
	adapter_config_default(&config);
	snprintf(config.name, sizeof(config.name), "%s", row->adapter);
	snprintf(config.port, sizeof(config.port), "%s", row->port);
	config.ndis = (enum ndis_version)row->ndis;
	config.queues = row->queues;
	config.filters = row->filters;
	config.mtu = row->mtu;
	config.cpus.words[0] = row->cpus;
	assert_int_equal(adapter_add(model, &config, &fake_root, false, &adapter, &why), row->error);
	assert_int_equal(adapter != NULL, row->error == 0);
	assert_int_equal(strlen(why.text) > 0, row->error != 0);
	if (row->error) {
		assert_string_equal(fake.log, "");
	} else {
		assert_int_equal(cpumask_count(&adapter->config.cpus), row->cpus ? __builtin_popcountll(row->cpus) : 3);
		assert_int_equal(adapter->queues[0]->state, QUEUE_RUNNING);
		assert_int_equal(adapter->drop_queue->state, QUEUE_RUNNING);
	}
	fake_core_destroy(&fake, model);
}

static const struct failure_row {
	const char *name;
	enum fake_op op;
	unsigned fail_at;
} failure_rows[] = {
	{ "port does not open", FAKE_NIC_OPEN, 1 },
	{ "path refuses the adapter", FAKE_ADAPTER_OPEN, 1 },
	{ "path refuses the default queue", FAKE_QUEUE_OPEN, 1 },
	{ "path refuses the drop queue", FAKE_QUEUE_OPEN, 2 },
	{ "port", FAKE_NIC_CONNECT, 1 },
};

static void
add_failure(void **state)
{
	const struct failure_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter_config config;
	struct adapter *adapter = NULL;

	adapter_config_default(&config);
	strcpy(config.name, "eth0");
	strcpy(config.port, "net_null0");
	fake.fail_at[row->op] = row->fail_at;
	fake.connect_error = -EIO;
	assert_int_equal(adapter_add(model, &config, &fake_root, false, &adapter, NULL), -EIO);
	assert_null(adapter);
	assert_true(TAILQ_EMPTY(&model->adapters));
	assert_int_equal(fake.nics + fake.path_adapters + fake.path_queues, 0);
	assert_int_equal(adapter_add(model, &config, &fake_root, false, &adapter, NULL), 0);
	fake_core_destroy(&fake, model);
}

/* What a port that does not open means for an adapter that may be absent. */
static const struct absent_row {
	const char *name;
	int error;
	bool absent;
} absent_rows[] = {
	{ "no such interface", -ENODEV, true },     { "the driver says no", -EIO, true },
	{ "no permission", -EPERM, true },	    { "another adapter's", -EEXIST, true },
	{ "the driver does not answer", -ETIMEDOUT, true }, { "written wrongly", -EINVAL, false },
	{ "not of this MTU", -ERANGE, false },
};

static void
absent(void **state)
{
	const struct absent_row *row = *state;
	struct model *model = fake_core_create(&fake);
	const struct refusal gone = { .text = "gone" };
	struct adapter_config config;
	struct adapter *adapter = NULL;

	adapter_config_default(&config);
	strcpy(config.name, "eth0");
	strcpy(config.port, "net_null0");
	fake.fail_at[FAKE_NIC_CONNECT] = 1;
	fake.connect_error = row->error;
	assert_int_equal(adapter_add(model, &config, &fake_root, true, &adapter, NULL), row->absent ? 0 : row->error);
	assert_int_equal(fake.nics, row->absent);
	if (row->absent) {
		assert_true(adapter->absent);
		assert_false(adapter->link.up);
		assert_string_equal(adapter->why.text, "port of eth0 is not there");
		fake.fail_at[FAKE_NIC_CONNECT] = 1;
		assert_int_equal(adapter_connect(adapter), row->error);
		assert_true(adapter->absent);
		assert_int_equal(adapter_connect(adapter), 0);
		assert_false(adapter->absent);
		assert_true(adapter->link.up);
		assert_non_null(strstr(fake.log, "path adapter_connected eth0\nevent eth0 link 1\n"));
		adapter_disconnect(adapter, &gone);
		assert_true(adapter->absent);
		assert_string_equal(adapter->why.text, "gone");
		assert_non_null(strstr(fake.log, "event eth0 link 0\n"));
		assert_int_equal(adapter_connect(adapter), 0);
	}
	fake_core_destroy(&fake, model);
}

static const struct hardware_row {
	const char *name;
	uint32_t queues, filters;
	uint16_t mtu_max;
	const char *sentence;
} hardware_rows[] = {
	{ "hardware with fewer queues", 16, 4096, 9000, "the port of adapter eth0 has 16 queues, not 64" },
	{ "hardware with fewer filters", 64, 64, 9000, "the port of adapter eth0 has 64 filters, not 4096" },
	{ "hardware with a smaller MTU", 64, 4096, 1400,
	  "the port of adapter eth0 takes an MTU of at most 1400, not 1500" },
};

static void
hardware(void **state)
{
	const struct hardware_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter_config config;
	struct adapter *adapter;
	struct refusal why;

	fake.hardware.queues = row->queues;
	fake.hardware.mac_filters = row->filters;
	fake.hardware.mtu_max = row->mtu_max;
	adapter_config_default(&config);
	strcpy(config.name, "eth0");
	strcpy(config.port, "net_null0");
	assert_int_equal(adapter_add(model, &config, &fake_root, false, &adapter, &why), -EINVAL);
	assert_string_equal(why.text, row->sentence);
	assert_int_equal(fake.nics, 0);
	fake_core_destroy(&fake, model);
}

static void
find_says_what_is_wrong(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8), *found = NULL;
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct refusal why;

	(void)state;
	assert_int_equal(adapter_find(model, "eth0", &found, NULL), 0);
	assert_ptr_equal(found, adapter);
	assert_int_equal(adapter_find(model, "eth7", &found, &why), -ENOENT);
	assert_string_equal(why.text, "there is no adapter eth7");
	fake.outstanding[queue->id] = 1;
	assert_int_equal(adapter_del(adapter, &fake_root, (struct completion){ 0 }, NULL), 0);
	assert_int_equal(adapter_find(model, "eth0", &found, &why), -EBUSY);
	assert_string_equal(why.text, "adapter eth0 is being deleted");
	fake_core_destroy(&fake, model);
}

static struct adapter *
busy_adapter(struct model *model, unsigned *freed)
{
	const struct vm_parameters web1 = { .name = "web1", .socket = "/run/web1" };
	const struct vm_parameters web2 = { .name = "web2", .socket = "/run/web2" };
	const struct queue_parameters none = { 0 };
	const uint64_t mac = MAC + 7;
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 8, 16);
	struct queue *running = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct queue *paused = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	struct filter *filter;
	struct vm *vm;

	fake_queue_in(&fake, adapter, QUEUE_SET, MAC + 1);
	fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	assert_int_equal(vm_attach(model, &web1, running, &fake_alice, &vm, NULL), 0);
	assert_int_equal(vm_add(adapter, &web2, &none, &mac, 1, 10, &fake_bob, &vm, NULL), 0);
	assert_int_equal(filter_set(adapter->queues[0], MAC + 2, 10, &fake_bob, &filter, NULL), 0);
	assert_int_equal(filter_set(adapter->drop_queue, MAC + 3, VLAN_ANY, &fake_bob, &filter, NULL), 0);
	assert_int_equal(host_add(adapter, "vmq0", &fake_root, NULL), 0);
	model_commit(model);
	assert_int_equal(queue_free(paused, &fake_alice, fake_completion(freed), NULL), 0);
	return adapter;
}

static void
del_ends_everything(void **state)
{
	struct model *model = fake_core_create(&fake);
	unsigned freed = 0, closed = 0;
	struct adapter *adapter = busy_adapter(model, &freed), *found;

	(void)state;
	fake.outstanding[1] = 2;
	assert_int_equal(adapter_del(adapter, &fake_root, fake_completion(&closed), NULL), 0);
	assert_true(TAILQ_EMPTY(&model->vms));
	model_poll(model);
	assert_int_equal(freed + closed, 0);
	model_commit(model);
	assert_int_equal(freed, 1);
	assert_int_equal(closed, 0);
	assert_int_equal(fake.ports, 0);
	assert_int_equal(fake.nics, 1);
	fake.outstanding[1] = 0;
	assert_int_equal(model_poll(model), 0);
	assert_int_equal(closed, 1);
	assert_int_equal(fake.nics + fake.path_adapters + fake.path_queues, 0);
	assert_int_equal(adapter_find(model, "eth0", &found, NULL), -ENOENT);
	fake_core_destroy(&fake, model);
}

/* The data path lets go of the adapter before the default queue and the port go. */
static void
del_of_an_idle_adapter(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	unsigned closed = 0;

	(void)state;
	fake_log_clear(&fake);
	assert_int_equal(adapter_del(adapter, &fake_root, fake_completion(&closed), NULL), 0);
	model_poll(model);
	assert_string_equal(fake.log, "");
	model_commit(model);
	assert_int_equal(closed, 1);
	assert_string_equal(fake.log, "nic publish eth0\npath publish eth0\npath synchronize\n"
				      "nic retire eth0\npath retire eth0\n"
				      "path adapter_close eth0\n"
				      "path queue_close eth0 65535\npath queue_close eth0 0\n"
				      "nic close eth0\n");
	fake_core_destroy(&fake, model);
}

static void
closing_refuses_everything(void **state)
{
	const struct queue_parameters parameters = { 0 };
	const struct vm_parameters web3 = { .name = "web3", .socket = "/run/web3" };
	const uint64_t mac = MAC + 9;
	struct model *model = fake_core_create(&fake);
	struct adapter_config config;
	unsigned freed = 0, closed = 0;
	struct adapter *adapter = busy_adapter(model, &freed), *second;
	struct queue *queue = adapter->queues[1], *new_queue;
	struct filter *filter;
	struct vm *vm;

	(void)state;
	fake.outstanding[1] = 1;
	assert_int_equal(adapter_del(adapter, &fake_root, fake_completion(&closed), NULL), 0);
	config = adapter->config;
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(adapter_del(adapter, &fake_root, fake_completion(&closed), NULL), -EBUSY);
		assert_int_equal(adapter_add(model, &config, &fake_root, false, &second, NULL), -EBUSY);
		assert_int_equal(queue_allocate(adapter, &parameters, &fake_root, &new_queue, NULL), -EBUSY);
		assert_int_equal(queue_complete(queue, &fake_root, NULL), -EBUSY);
		assert_int_equal(queue_set(queue, &parameters, &fake_root, NULL), -EBUSY);
		assert_int_equal(queue_free(queue, &fake_root, (struct completion){ 0 }, NULL), -EBUSY);
		assert_int_equal(filter_set(adapter->queues[0], mac, 10, &fake_root, &filter, NULL), -EBUSY);
		assert_int_equal(vm_attach(model, &web3, queue, &fake_root, &vm, NULL), -EBUSY);
		assert_int_equal(vm_add(adapter, &web3, &parameters, &mac, 1, 10, &fake_root, &vm, NULL), -EBUSY);
		assert_int_equal(host_add(adapter, "vmq1", &fake_root, NULL), -EBUSY);
		assert_int_equal(host_del(adapter, &fake_root, NULL), -EBUSY);
		model_commit(model);
	}
	assert_int_equal(closed, 0);
	fake_core_destroy(&fake, model);
}

static const struct host_row {
	const char *name, *ifname;
	int error;
} host_rows[] = {
	{ "host", "vmq0", 0 },
	{ "host longest", "vmq456789012345", 0 },
	{ "host too long", "vmq4567890123456", -EINVAL },
	{ "host empty", "", -EINVAL },
	{ "host dot", ".", -EINVAL },
	{ "host dots", "..", -EINVAL },
	{ "host with slash", "a/b", -EINVAL },
	{ "host with colon", "a:b", -EINVAL },
	{ "host with device arguments", "a,mac=fixed", -EINVAL },
	{ "host of another adapter", "taken", -EEXIST },
};

static void
host(void **state)
{
	const struct host_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct adapter *other = fake_adapter_add(model, "eth1", NDIS_6_30, 4, 8);

	assert_int_equal(host_add(other, "taken", &fake_root, NULL), 0);
	assert_int_equal(host_add(adapter, row->ifname, &fake_root, NULL), row->error);
	assert_int_equal(adapter->host != NULL, row->error == 0);
	assert_int_equal(fake.nics, row->error ? 3 : 4);
	fake_core_destroy(&fake, model);
}

static void
host_comes_and_goes(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct refusal why;

	(void)state;
	fake_log_clear(&fake);
	assert_int_equal(host_del(adapter, &fake_root, NULL), -ENOENT);
	fake.fail_at[FAKE_NIC_OPEN] = 1;
	assert_int_equal(host_add(adapter, "vmq0", &fake_root, NULL), -EIO);
	assert_null(adapter->host);
	assert_int_equal(host_add(adapter, "vmq0", &fake_root, NULL), 0);
	assert_int_equal(host_add(adapter, "vmq1", &fake_root, &why), -EEXIST);
	assert_string_equal(why.text, "adapter eth0 has host interface vmq0 already");
	model_commit(model);
	fake_log_clear(&fake);
	assert_int_equal(host_del(adapter, &fake_root, NULL), 0);
	assert_string_equal(fake.log, "");
	model_commit(model);
	assert_int_equal(fake_log_count(&fake, "nic close vmq0"), 1);
	fake_core_destroy(&fake, model);
}

static const struct capability_row {
	const char *name;
	enum ndis_version ndis;
	bool vmq, split, vlan_filtering;
	bool current_split;
	uint32_t current_queues, hardware_max_lookahead, current_max_lookahead;
} capability_rows[] = {
	{ "capabilities 6.30", NDIS_6_30, true, true, true, false, 4, 0, 0 },
	{ "capabilities 6.20", NDIS_6_20, true, true, true, true, 4, 128, 128 },
	{ "capabilities 6.20, split off", NDIS_6_20, true, false, true, false, 4, 128, 0 },
	{ "capabilities 6.20, VLAN filtering off", NDIS_6_20, true, true, false, true, 4, 128, 128 },
	{ "capabilities 6.20, VMQ off", NDIS_6_20, false, true, true, false, 0, 128, 0 },
};

static void
capability(void **state)
{
	const struct capability_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", row->ndis, 4, 8);
	struct capabilities hardware, current;

	adapter->config.vmq = row->vmq;
	adapter->config.lookahead_split = row->split;
	adapter->config.vlan_filtering = row->vlan_filtering;
	adapter_capabilities_hardware(adapter, &hardware);
	adapter_capabilities_current(adapter, &current);
	assert_int_equal(hardware.num_queues, QUEUE_ID_LIMIT);
	assert_int_equal(hardware.max_mac_header_filters, FILTER_ID_LIMIT);
	assert_int_equal(hardware.max_lookahead_split_size, row->hardware_max_lookahead);
	assert_true(hardware.vmq && hardware.vlan_filtering);
	assert_int_equal(current.vmq, row->vmq);
	assert_int_equal(current.vlan_filtering, row->vmq && row->vlan_filtering);
	assert_int_equal(current.num_queues, row->current_queues);
	assert_int_equal(current.lookahead_split, row->current_split);
	assert_int_equal(current.max_lookahead_split_size, row->current_max_lookahead);
	fake_core_destroy(&fake, model);
}

static void
link_changes_are_told(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct nic_link link = adapter->link;

	(void)state;
	assert_true(link.up);
	fake_log_clear(&fake);
	adapter_link_changed(adapter, &link);
	link.up = false;
	adapter_link_changed(adapter, &link);
	assert_string_equal(fake.log, "event eth0 link 0\n");
	fake_core_destroy(&fake, model);
}

/* It would free queues that are not the caller's. */
static void
del_asks_the_owners_of_its_queues(void **state)
{
	struct model *model = fake_core_create(&fake);
	unsigned freed = 0, closed = 0;
	struct adapter *adapter = busy_adapter(model, &freed);
	struct refusal why;

	(void)state;
	assert_int_equal(adapter_del(adapter, &fake_bob, fake_completion(&closed), &why), -EPERM);
	assert_non_null(strstr(why.text, "belongs to user"));
	assert_false(adapter->closing);
	model_commit(model);
	assert_int_equal(closed, 0);
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, config, config_rows);
	ROWS(&tests, add_failure, failure_rows);
	ROWS(&tests, absent, absent_rows);
	ROWS(&tests, hardware, hardware_rows);
	ROWS(&tests, host, host_rows);
	ROWS(&tests, capability, capability_rows);
	TEST(&tests, find_says_what_is_wrong);
	TEST(&tests, del_ends_everything);
	TEST(&tests, del_asks_the_owners_of_its_queues);
	TEST(&tests, del_of_an_idle_adapter);
	TEST(&tests, closing_refuses_everything);
	TEST(&tests, host_comes_and_goes);
	TEST(&tests, link_changes_are_told);
	return row_tests_run("model: adapters", &tests);
}
