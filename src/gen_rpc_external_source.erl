%% SPDX-License-Identifier: Apache-2.0
%% @doc Behaviour of a module that knows how to reach nodes: `{external, Module}' in the setting
%% `client_config_per_node'. It is asked each time that a connection is to be made, in a process of
%% its own, which is killed after `connect_timeout'. The name is that of the gen_rpc library.
-module(gen_rpc_external_source).

-export_type([answer/0, host/0]).

-type host() :: string() | inet:ip_address().

%% What an answer leaves out is the default: the driver that of the setting, the host that of the
%% node, the port that of the driver. Those of a list are tried in order.
-type answer() :: {gen_rpc_config:driver(), inet:port_number()}
                | inet:port_number()
                | gen_rpc_config:driver()
                | {gen_rpc_config:driver(), host(), inet:port_number()}
                | [{gen_rpc_config:driver(), host(), inet:port_number()}, ...]
                | {error, Reason :: term()}.

-callback get_config(node()) -> answer().
