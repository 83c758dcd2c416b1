/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/port.h"

#include "port/eth.h"
#include "port/packet.h"

#include <string.h>

static const struct port_ops *
ops_of(const char *name)
{
	return strncmp(name, PACKET_PORT_PREFIX, strlen(PACKET_PORT_PREFIX)) ? &eth_port_ops : &packet_port_ops;
}

uint32_t
port_buffer_bytes(const char *name, uint16_t mtu)
{
	return ops_of(name)->buffer_bytes(name, mtu);
}

int
port_open(const struct port_request *request, struct port *port, struct refusal *why)
{
	int error;

	*port = (struct port){ .ops = ops_of(request->name) };
	snprintf(port->claim.adapter, sizeof(port->claim.adapter), "%s", request->adapter);
	error = port->ops->describe(request->name, &port->claim, why);
	if (!error)
		error = claim_check(&port->claim, request->name, why);
	if (!error)
		error = port->ops->open(request, port, why);
	if (!error)
		claim_take(&port->claim);
	return error;
}

int
port_close(struct port *port)
{
	claim_drop(&port->claim);
	return port->ops->close(port);
}
