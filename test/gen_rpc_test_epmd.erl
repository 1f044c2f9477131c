%% SPDX-License-Identifier: Apache-2.0
%% An epmd module of a user's own, for `-epmd_module': names are files in the directory that
%% GEN_RPC_TEST_EPMD names, each with a port. A file `trouble' there tells it what to do instead.
-module(gen_rpc_test_epmd).

-export([start_link/0, register_node/2, register_node/3, port_please/2, port_please/3]).
-export([address_please/3, listen_port_please/2, names/0, names/1]).

-spec start_link() -> ignore.
start_link() ->
    ignore.

-spec register_node(string(), inet:port_number(), atom()) -> term().
register_node(Name, Port, _Driver) ->
    register_node(Name, Port).

-spec register_node(string(), inet:port_number()) -> term().
register_node(Name, Port) ->
    case trouble() of
        {ok, <<"crash">>} -> error(oops);
        {ok, <<"refuse">>} -> {error, no_room};
        {ok, <<"nonsense">>} -> nonsense;
        {ok, <<"hang">>} -> receive after infinity -> ok end;
        {error, enoent} -> file:write_file(file(Name), integer_to_binary(Port)), {ok, 1}
    end.

-spec port_please(string(), string(), timeout()) -> term().
port_please(Name, Host, _Timeout) ->
    port_please(Name, Host).

-spec port_please(string(), string()) -> term().
port_please(Name, _Host) ->
    case {trouble(), file:read_file(file(Name))} of
        {{ok, <<"crash">>}, _} -> error(oops);
        {{ok, <<"refuse">>}, _} -> {error, no_idea};
        {{ok, <<"nonsense">>}, _} -> nonsense;
        {_, {ok, Port}} -> {port, binary_to_integer(Port), 5};
        {_, {error, enoent}} -> noport
    end.

-spec address_please(string(), string(), inet | inet6) -> {ok, inet:ip_address()} | {error, term()}.
address_please(_Name, Host, Family) ->
    inet:getaddr(Host, Family).

-spec listen_port_please(string(), string()) -> {ok, 0}.
listen_port_please(_Name, _Host) ->
    {ok, 0}.

-spec names() -> {error, address}.
names() ->
    {error, address}.

-spec names(string()) -> {error, address}.
names(_Host) ->
    {error, address}.

trouble() ->
    file:read_file(file("trouble")).

file(Name) ->
    filename:join(os:getenv("GEN_RPC_TEST_EPMD"), Name).
