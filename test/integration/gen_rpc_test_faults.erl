%% SPDX-License-Identifier: Apache-2.0
%% What can be the matter with a site, and how it is put right.
-module(gen_rpc_test_faults).

-export([names/0, inject/3, take_outgoing_ports/1]).
-export([take_all/1, give_back/1, fill_disk/0, free_disk/0, cut_connections/0]).

-type fault() :: frozen        % longer than the keepalive, or shorter
               | unplugged     % the cable is pulled
               | link_down     % by its administrator
               | deaf          % nothing comes from one other site
               | mute          % nothing gets to one other site
               | full_disk     % for its log
               | no_descriptors
               | no_ports.     % for outgoing connections
-export_type([fault/0]).

%% The only port that a site has for outgoing connections when it has none: somebody listens on it.
-define(TAKEN_PORT, 39999).

%% Those that every site can have.
-spec names() -> [fault()].
names() ->
    [frozen, unplugged, link_down, deaf, mute, full_disk, no_descriptors, no_ports].

%% Towards one other site, if it is something between two. Returns what heals it.
-spec inject(fault(), gen_rpc_test_site:t(), gen_rpc_test_net:site()) -> fun(() -> ok).
inject(frozen, Site, _Other) ->
    ok = gen_rpc_test_site:freeze(Site),
    fun() -> gen_rpc_test_site:thaw(Site) end;
inject(unplugged, #{site := I}, _Other) ->
    ok = gen_rpc_test_net:unplug(I),
    fun() -> gen_rpc_test_net:plug(I) end;
inject(link_down, #{site := I}, _Other) ->
    ok = gen_rpc_test_net:link_down(I),
    fun() -> gen_rpc_test_net:link_up(I) end;
inject(How, #{site := I}, Other) when How =:= deaf; How =:= mute ->
    ok = gen_rpc_test_net:block(How, I, Other),
    fun() -> gen_rpc_test_net:unblock(How, I, Other) end;
inject(full_disk, Site, _Other) ->
    ok = gen_rpc_test_site:call(Site, ?MODULE, fill_disk, []),
    fun() -> gen_rpc_test_site:call(Site, ?MODULE, free_disk, []) end;
inject(no_descriptors, Site, _Other) ->
    Taker = gen_rpc_test_site:call(Site, ?MODULE, take_all, [descriptors]),
    fun() -> gen_rpc_test_site:call(Site, ?MODULE, give_back, [Taker]) end;
inject(no_ports, Site, _Other) ->
    GiveBack = take_outgoing_ports(Site),
    ok = gen_rpc_test_site:call(Site, ?MODULE, cut_connections, []),
    GiveBack.

%% A site has no port for one more outgoing connection. Returns what gives it back all it had.
-spec take_outgoing_ports(gen_rpc_test_site:t()) -> fun(() -> ok).
take_outgoing_ports(#{site := I}) ->
    Before = gen_rpc_test_net:port_range(I),
    {ok, Listening} = gen_tcp:listen(?TAKEN_PORT,
                                     [{netns, "/run/netns/" ++ gen_rpc_test_net:namespace(I)}]),
    ok = gen_rpc_test_net:set_port_range(I, {?TAKEN_PORT, ?TAKEN_PORT}),
    fun() ->
            ok = gen_rpc_test_net:set_port_range(I, Before),
            gen_tcp:close(Listening)
    end.

%%% On the site

%% Takes all descriptors, or all ports of the VM, that are left. The result gives them back.
-spec take_all(descriptors | vm_ports) -> pid().
take_all(What) ->
    Self = self(),
    Pid = spawn(fun() ->
                        Taken = take(What, []),
                        Self ! {self(), taken},
                        receive {give_back, From} ->
                                lists:foreach(fun({Close, X}) -> Close(X) end, Taken),
                                From ! {self(), given_back}
                        end
                end),
    receive {Pid, taken} -> Pid end.

take(descriptors, Taken) ->
    case file:open("/dev/null", [raw, read]) of
        {ok, Fd} -> take(descriptors, [{fun file:close/1, Fd} | Taken]);
        {error, emfile} -> Taken
    end;
take(vm_ports, Taken) ->
    try open_port({spawn_driver, "ram_file_drv"}, []) of
        Port -> take(vm_ports, [{fun erlang:port_close/1, Port} | Taken])
    catch
        error:system_limit -> Taken
    end.

-spec give_back(pid()) -> ok.
give_back(Pid) ->
    Pid ! {give_back, self()},
    receive {Pid, given_back} -> ok end.

-spec fill_disk() -> ok.
fill_disk() ->
    {ok, Fd} = file:open(ballast(), [raw, write]),
    ok = fill(Fd),
    file:close(Fd).

fill(Fd) ->
    case file:write(Fd, <<0:4096/unit:8>>) of
        ok -> fill(Fd);
        {error, enospc} -> ok
    end.

-spec free_disk() -> ok.
free_disk() ->
    file:delete(ballast()).

ballast() ->
    filename:join(filename:dirname(gen_rpc_test_site:log_file()), "ballast").

%% Ends all outgoing connections, so that there is need for new ones.
-spec cut_connections() -> ok.
cut_connections() ->
    Clients = [Pid || {_, Pid, _, _} <- supervisor:which_children(gen_rpc_client_sup)],
    lists:foreach(fun(Port) ->
                          case erlang:port_info(Port, connected) of
                              {connected, Pid} -> lists:member(Pid, Clients)
                                                      andalso exit(Port, kill);
                              undefined -> ok
                          end
                  end, erlang:ports()).
