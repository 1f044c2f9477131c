%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Top supervisor. rest_for_one in order of dependence: without the driver nothing can live, and
%% the dispatcher, last, can restart alone because the registry remembers the clients.
-module(gen_rpc_sup).

-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ok = gen_rpc_registry:new(),
    ok = gen_rpc_holder:new(),
    ok = gen_rpc_code:new(),
    ok = gen_rpc_source_cache:new(),
    Listening = [tcp || gen_rpc_config:get(tcp_server_port) =/= false] ++
        [ssl || gen_rpc_config:get(ssl_server_port) =/= false],
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10},
          [worker(gen_rpc_driver)] ++
              [worker(gen_rpc_tls) || gen_rpc_tls:needed() =/= []] ++
              [supervisor(gen_rpc_client_sup),
               supervisor(gen_rpc_acceptor_sup)] ++
              [listener(Driver) || Driver <- Listening] ++
              [entry(Driver) || gen_rpc_config:get(register_with_epmd), Driver <- Listening] ++
              [supervisor(gen_rpc_holder_sup), worker(gen_rpc_local), worker(gen_rpc_code),
               worker(gen_rpc_dispatcher)]}}.

listener(Driver) ->
    #{id => {gen_rpc_listener, Driver}, start => {gen_rpc_listener, start_link, [Driver]},
      shutdown => 5000}.

entry(Driver) ->
    #{id => {gen_rpc_epmd_entry, Driver}, start => {gen_rpc_epmd_entry, start_link, [Driver]},
      shutdown => 5000}.

worker(Module) ->
    #{id => Module, start => {Module, start_link, []}, shutdown => 5000}.

supervisor(Module) ->
    #{id => Module, start => {Module, start_link, []}, type => supervisor, shutdown => infinity}.
