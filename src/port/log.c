/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/log.h"

#include <errno.h>
#include <pthread.h>
#include <rte_log.h>
#include <stdio.h>
#include <string.h>

/* DPDK's log is one per process, so this is too. Its threads write as well, hence the lock. */
static struct {
	pthread_mutex_t lock;
	bool verbose;
	char error[200];
} dpdk_log = { .lock = PTHREAD_MUTEX_INITIALIZER };

static ssize_t
dpdk_log_write(void *cookie, const char *text, size_t size)
{
	size_t length = size < sizeof(dpdk_log.error) ? size : sizeof(dpdk_log.error) - 1;

	(void)cookie;
	if (dpdk_log.verbose)
		fwrite(text, 1, size, stderr);
	if (rte_log_cur_msg_loglevel() > (int)RTE_LOG_ERR)
		return (ssize_t)size;
	while (length && (text[length - 1] == '\n' || text[length - 1] == ' '))
		length--;
	pthread_mutex_lock(&dpdk_log.lock);
	if (!dpdk_log.error[0]) {
		memcpy(dpdk_log.error, text, length);
		dpdk_log.error[length] = '\0';
	}
	pthread_mutex_unlock(&dpdk_log.lock);
	return (ssize_t)size;
}

int
dpdk_log_open(bool verbose)
{
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = dpdk_log_write });

	if (!stream)
		return -errno;
	setvbuf(stream, NULL, _IOLBF, 0);
	dpdk_log.verbose = verbose;
	rte_log_set_global_level(verbose ? RTE_LOG_INFO : RTE_LOG_ERR);
	return rte_openlog_stream(stream);
}

void
dpdk_log_forget(void)
{
	pthread_mutex_lock(&dpdk_log.lock);
	dpdk_log.error[0] = '\0';
	pthread_mutex_unlock(&dpdk_log.lock);
}

const char *
dpdk_log_first_error(void)
{
	return dpdk_log.error;
}
