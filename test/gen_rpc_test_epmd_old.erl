%% SPDX-License-Identifier: Apache-2.0
%% The same with the functions alone that such modules had at first.
-module(gen_rpc_test_epmd_old).

-export([start_link/0, register_node/2, port_please/2, names/0]).

-spec start_link() -> ignore.
start_link() ->
    gen_rpc_test_epmd:start_link().

-spec register_node(string(), inet:port_number()) -> term().
register_node(Name, Port) ->
    gen_rpc_test_epmd:register_node(Name, Port).

-spec port_please(string(), string()) -> term().
port_please(Name, Host) ->
    gen_rpc_test_epmd:port_please(Name, Host).

-spec names() -> {error, address}.
names() ->
    gen_rpc_test_epmd:names().
